web:
  tls: no
  sites:
    lab: { port: 80 }
    wiki: { port: 8080 }
