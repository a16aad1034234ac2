#!/bin/sh
# Clones a virtual machine that is shut off and starts the clone: TEMPLATE PREFIX MOST. Names are PREFIX-1 to
# PREFIX-MOST; when all are taken nothing is done.
set -eu
template=$1 prefix=$2 most=$3
n=1
while [ "$n" -le "$most" ]; do
    name=$prefix-$n
    if ! virsh --readonly --quiet dominfo "$name" >/dev/null 2>&1; then
        virt-clone --original "$template" --name "$name" --auto-clone
        virsh --quiet start "$name"
        echo "cloned $template to $name"
        exit 0
    fi
    n=$((n + 1))
done
echo "all of $prefix-1 to $prefix-$most are there"
