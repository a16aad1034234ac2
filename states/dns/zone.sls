# The names of all machines, from the roster; dnsmasq sees by itself that the file has changed.
dns_zone:
  file.managed:
    name: /etc/dnsmasq.hosts/labctl
    source: lab://dns/files/hosts
    template: handlebars
    mode: '0644'
    makedirs: true
