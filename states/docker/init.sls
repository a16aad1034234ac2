# The Docker engine of the distribution, with log sizes that do not fill the disk.
docker_packages:
  pkg.installed:
    name: docker.io

docker_config:
  file.managed:
    name: /etc/docker/daemon.json
    contents: |
      {
        "log-driver": "json-file",
        "log-opts": { "max-size": "{{ pillar.docker.log_size }}", "max-file": "3" },
        "live-restore": true
      }
    mode: '0644'
    makedirs: true

docker_prune:
  cron.present:
    name: /usr/bin/docker system prune --force --filter until=168h > /dev/null
    identifier: labctl-docker-prune
    user: root
    minute: '43'
    hour: '3'
    require:
      - pkg: docker_packages

docker:
  service.running:
    enable: true
    require:
      - pkg: docker_packages
    watch:
      - file: docker_config
