# Tools that one misses at three in the morning; the list is in pillar/base.sls.
base_packages:
  pkg.installed:
    pkgs:
{{#each pillar.base.packages}}
      - {{ this }}
{{/each}}
