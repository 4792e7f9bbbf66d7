# Only names for the scripts, which also work without make.
.PHONY: check test generate bench
check:
	scripts/test --fast
test:
	scripts/test
generate:
	scripts/export_abi
	scripts/export_layout
	scripts/export_schemas
bench:
	scripts/bench
