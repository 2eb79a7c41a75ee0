module logad/benchmarks/loki-drain

go 1.26

require github.com/grafana/loki/v3 v3.7.8

// Loki's own go.mod says these; a module's replacements do not reach those who import it.
replace github.com/hashicorp/memberlist => github.com/grafana/memberlist v0.3.1-0.20251126142931-6f9f62ab6f86

replace github.com/grafana/regexp => github.com/grafana/regexp v0.0.0-20240518133315-a468a5bfb3bc

replace github.com/thanos-io/objstore => github.com/grafana/objstore v0.0.0-20250728171719-b5d3b766d1b0
