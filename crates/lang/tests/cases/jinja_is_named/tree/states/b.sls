#!jinja|yaml
a: 1
