#!/usr/bin/env bash
# The chapter's evaluation with the calls it prints: register a dataset and a model, download and compare, translate.
# For a platform that asks for no token: headrace up --open
#
#   curl.sh http://127.0.0.1:8080 DATASET CODE.zip ['{"epochs": 2}']
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $(basename "$0") URL DATASET CODE.zip [PARAMETERS, as in '{\"epochs\": 2}']" >&2
  exit 2
fi
url=${1%/} dataset=$2 code=$3 params=${4:-"{}"}
call() { curl --silent --show-error --fail-with-body --noproxy '*' "$@"; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
quoted() { printf '%s' "$1" | sed 's/["\\]/\\&/g'; }
# Of several files: SHA-256 over a line for each, its path, a zero byte, its digest; in the order of the lines.
digest() {
  (cd "$1" && find . -type f -printf '%P\n' | while IFS= read -r file; do
    printf '%s\0sha256:%s\n' "$file" "$(sha256sum "$file" | cut -d ' ' -f 1)"
  done | LC_ALL=C sort | sha256sum | cut -d ' ' -f 1)
}

status=$(curl --silent --noproxy '*' --output /dev/null --write-out '%{http_code}' --url "$url/metadata/none" || true)
case $status in
  401) echo "$url asks for a token, and these calls have none: they are for headrace up --open" >&2; exit 1 ;;
  000) echo "no answer from $url: headrace up --open starts a platform" >&2; exit 1 ;;
esac

id=$(call --request POST --url "$url/dataset/" --form "model=@$dataset" \
  --form 'metadata={"sample_dimension": "(256,256)"}' | field dataset_id)
echo "dataset $id"
model=$(call --request POST --url "$url/model/" --form "model=@$code" --form "metadata={
  \"model_params\": {\"sample_dimension\": \"(256,256)\", \"params\": \"$(quoted "$params")\"},
  \"data_params\": {\"dataset_id\": \"$id\"}}" | field model_id)
echo "model $model"

began=$SECONDS said=
while state=$(call --url "$url/metadata/$model" | field state); [ "$state" = registered ] || [ "$state" = training ]; do
  now="$state, $(((SECONDS - began) / 10 * 10)) s"
  if [ "$now" != "$said" ]; then echo "$now" >&2; fi
  said=$now
  sleep 1
done
metadata=$(call --url "$url/metadata/$model")
if [ "$state" != trained ]; then
  echo "it is $state; headrace job list says why" >&2
  exit 1
fi
until [ "$(call --url "$url/metadata/$model" | field anchoring)" != waiting ]; do sleep 1; done

call --url "$url/model/$model" --output "$model.download"
contract=$(echo "$metadata" | field contract_address)
said=$(echo "$metadata" | field res_hash)
found=$(sha256sum "$model.download" | cut -d ' ' -f 1)
if [ "$said" != "$found" ]; then # several files: what came is a zip of them
  python3 -m zipfile -e "$model.download" "$model.files"
  found=$(digest "$model.files")
fi
if [ "$said" != "$found" ]; then
  echo "$model.download is $found, and its record says $said" >&2
  exit 1
fi
echo "downloaded $model.download, as its contract says:"
call --request POST --url "$url/contract/$contract/verify?res_hash=$found" # of what came, not of what we were told
echo
echo "translated $(call --request POST --url "$url/translate/$model" | field id)"
