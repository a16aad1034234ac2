# Prometheus' node exporter, on the address and with the collectors that pillar says.
node_exporter:
  pkg.installed:
    name: prometheus-node-exporter

node_exporter_defaults:
  file.managed:
    name: /etc/default/prometheus-node-exporter
    contents: |
      # Written by labctl for {{ id }}.
      ARGS="--web.listen-address={{ pillar.node_exporter.listen }}{{#each pillar.node_exporter.disabled}} --no-collector.{{ this }}{{/each}}"
    mode: '0644'
    makedirs: true
    require:
      - pkg: node_exporter

node_exporter_running:
  service.running:
    name: prometheus-node-exporter
    enable: true
    watch:
      - file: node_exporter_defaults
