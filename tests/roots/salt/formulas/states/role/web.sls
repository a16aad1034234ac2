include:
  - nginx
extend:
  nginx-service-running-service-running:
    service:
      - reload: True
web-role:
  test.succeed_without_changes:
    - require:
      - sls: nginx
