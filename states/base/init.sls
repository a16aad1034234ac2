# What every machine of the lab has: tools, people, a closed ssh, security updates, the right time.
include:
  - .packages
  - .users
  - .ssh
  - .upgrades
  - .time
