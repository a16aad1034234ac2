# Prometheus, and the targets that labctl knows. Its own prometheus.yml stays yours; it needs a job with
#   file_sd_configs: [ { files: [/etc/prometheus/labctl.json] } ]
include:
  - prometheus.targets

prometheus:
  pkg.installed: []

prometheus_running:
  service.running:
    name: prometheus
    enable: true
    require:
      - pkg: prometheus
