x:
  zone.managed: []
