# Scrape targets from the roster; Prometheus sees by itself that the file has changed.
prometheus_targets:
  file.managed:
    name: {{ default pillar.prometheus.targets "/etc/prometheus/labctl.json" }}
    source: lab://prometheus/files/targets.json
    template: handlebars
    mode: '0644'
    makedirs: true
