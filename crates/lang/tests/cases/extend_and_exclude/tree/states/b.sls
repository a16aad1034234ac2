web: { file.managed: { name: /srv/web, contents: x, mode: 0644 } }
gone: { file.absent: { name: /gone } }
