# What CI runs: format, lints, docs, dependencies, the units, every tier of tests.
check:
    .ci/run

# The core tier, as the README says.
test:
    cargo test

# Kills and power cuts at full scale.
crash:
    tests/crash

# Every fuzz target for a while: `ONCEGATE_FUZZ_SECONDS=600 just fuzz`.
fuzz:
    tests/fuzz

# The providers' own libraries against the gateway: installs them by pip and npm.
oracles *presets:
    tests/oracles {{presets}}

# Every figure beside its floor and goal: 25 GiB of disk, three quarters of an hour. Options as
# `just bench --only accept-64,one`.
bench *options:
    cargo bench --bench load -- {{options}}

# The same with little data: shows that it works, measures nothing.
bench-quick:
    cargo bench --bench load -- --quick

# The steps of one webhook by themselves.
micro *options:
    cargo bench --bench micro -- {{options}}
