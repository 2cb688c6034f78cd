#!/bin/sh
# Print a picture a second of a camera: sh images.sh cam-1
set -eu
endpoint=$(aws kinesisvideo get-data-endpoint --stream-name "$1" --api-name GET_IMAGES --query DataEndpoint --output text)
end=$(($(date +%s) - 10))
aws kinesis-video-archived-media get-images --endpoint-url "$endpoint" --stream-name "$1" \
  --image-selector-type SERVER_TIMESTAMP --format JPEG --sampling-interval 1000 \
  --start-timestamp $((end - 10)) --end-timestamp $end \
  --query 'Images[].[TimeStamp, ImageContent || Error]' --output text | cut -c 1-64
