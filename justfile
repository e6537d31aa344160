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

# The gateway beside a bare HTTP server, in one run.
bench:
    cargo bench --bench load
