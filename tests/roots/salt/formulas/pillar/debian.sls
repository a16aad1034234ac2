{% set codename = grains.get('oscodename', 'bookworm') %}
apt:
  codename: {{ codename }}
ntp:
  servers:
    - 2.debian.example
