name: never
