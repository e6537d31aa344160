# What CI runs: format, lints, docs, dependencies, both tiers of tests.
check:
    .ci/run

# The core tier, as the README says.
test:
    cargo test

# Kills and power cuts at full scale.
crash:
    tests/crash

# The gateway beside a bare HTTP server, in one run.
bench:
    cargo bench --bench load
