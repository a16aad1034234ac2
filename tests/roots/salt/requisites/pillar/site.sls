#!yaml
site: lab
