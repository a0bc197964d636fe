#!/usr/bin/env bash
# The chapter's evaluation with the calls it prints: register a dataset and a model, download and compare, translate.
# For a platform that asks for no token: headrace up --open
#
#   curl.sh http://127.0.0.1:8080 DATASET CODE.zip ['{"epochs": 2}']
set -euo pipefail
url=$1 dataset=$2 code=$3 params=${4:-"{}"}
call() { curl --silent --show-error --fail-with-body --noproxy '*' "$@"; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
quoted() { printf '%s' "$1" | sed 's/["\\]/\\&/g'; }

id=$(call --request POST --url "$url/dataset/" --form "model=@$dataset" \
  --form 'metadata={"sample_dimension": "(256,256)"}' | field dataset_id)
echo "dataset $id"
model=$(call --request POST --url "$url/model/" --form "model=@$code" --form "metadata={
  \"model_params\": {\"sample_dimension\": \"(256,256)\", \"params\": \"$(quoted "$params")\"},
  \"data_params\": {\"dataset_id\": \"$id\"}}" | field model_id)
echo "model $model"

while state=$(call --url "$url/metadata/$model" | field state); [ "$state" = registered ] || [ "$state" = training ]; do
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
if [ "$said" = "$found" ]; then # one file; of several the hash is one over the hashes of all
  echo "downloaded $model.download, as its contract says:"
fi
call --request POST --url "$url/contract/$contract/verify?res_hash=$said"
echo
echo "translated $(call --request POST --url "$url/translate/$model" | field id)"
