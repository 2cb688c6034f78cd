"""Print a picture a second of a camera: python images.py cam-1"""

import sys
from datetime import UTC, datetime, timedelta

import boto3

stream = sys.argv[1]
video = boto3.client("kinesisvideo")
endpoint = video.get_data_endpoint(StreamName=stream, APIName="GET_IMAGES")["DataEndpoint"]
media = boto3.client("kinesis-video-archived-media", endpoint_url=endpoint)
end = datetime.now(UTC) - timedelta(seconds=10)
pages = media.get_paginator("get_images").paginate(
    StreamName=stream, ImageSelectorType="SERVER_TIMESTAMP", Format="JPEG", SamplingInterval=1000,
    StartTimestamp=end - timedelta(seconds=10), EndTimestamp=end,
)
for page in pages:
    for image in page["Images"]:
        # The content is Base64, and an image without one says why.
        print(image["TimeStamp"].isoformat(), image.get("ImageContent", image.get("Error"))[:8])
