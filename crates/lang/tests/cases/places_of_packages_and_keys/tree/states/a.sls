#!yaml
tools:
  pkg.installed:
    - sources:
      - tool: lab://f/tool.deb
      - other: https://example.org/other.deb
keys of ada:
  ssh_auth.present:
    - user: ada
    - source: salt://f/keys
/opt/tool:
  archive.extracted:
    - source: lab://f/tool.zip
