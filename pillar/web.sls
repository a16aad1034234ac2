web:
  package: nginx-light
  port: 80
  root: /srv/www
  greeting: Served by labctl.
  # `!secret` values print as «secret» in every diff, log, event and report.
  status_password: !secret change-me-in-pillar
