#!/bin/sh
# Makes one function key that can read everything and change nothing: the same value on every function that only reads.
# Run it after the app was published (a function must be there to have a key), and again when a release has new functions.
#
#     sh infra/read-key.sh RESOURCE_GROUP APP            prints the key
set -eu
group=$1 app=$2
functions='get_status list_runs list_dead_letters group_dead_letters list_lost list_pending list_audit get_metrics openapi'
key=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')

for function in $functions; do
  az functionapp function keys set --resource-group "$group" --name "$app" \
    --function-name "$function" --key-name read --key-value "$key" --output none
done
echo "$key"
