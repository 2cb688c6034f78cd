"""The real boto3 works with the fake service as with the real one.

Usage: boto3_accepts.py ENDPOINT, where boto3_test.go serves its streams. It prints
a line for each check, and ends with 1 at the first that fails.
"""

import base64
import datetime as dt
import io
import struct
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

NAMES = [
    "audio", "busy", "cam-1", "creating", "deleting", "denied", "expired", "hasty", "off", "outage", "updating",
]
NOW = dt.datetime.now(dt.timezone.utc)
MINUTE = (NOW - dt.timedelta(minutes=10)).replace(second=0, microsecond=0)
QUIET = Config(retries={"total_max_attempts": 1}, parameter_validation=False)


def seconds(n):
    return dt.timedelta(seconds=n)


def client(service, endpoint):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=QUIET,
    )


def check(name, ok, got=""):
    print("ok  " if ok else "FAIL", name, "" if ok else repr(got), flush=True)
    if not ok:
        sys.exit(1)


def equal(name, got, want):
    check(name, got == want, (got, want))


def refused(name, call, code, status, **parameters):
    """The call ends with the error of that name, as a class where it is modelled."""
    try:
        got = call(**parameters)
    except ClientError as err:
        got = (err.response["Error"]["Code"], err.response["ResponseMetadata"]["HTTPStatusCode"])
        if not isinstance(err, call.__self__.exceptions.from_code(code)):
            got = type(err)
    equal(f"{name}: {code}", got, (code, status))


def throttled(name, call, **parameters):
    """The call works until it is made too often."""
    for made in range(200):
        try:
            call(**parameters)
        except call.__self__.exceptions.ClientLimitExceededException:
            check(f"{name}: ClientLimitExceededException", made > 0)
            return
    check(f"{name}: ClientLimitExceededException", False, "never throttled")


def size_of(data):
    """Width and height as the file's header says."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return ("png",) + struct.unpack(">II", data[16:24])
    stream = io.BytesIO(data)
    equal("a JPEG begins as one", stream.read(2), b"\xff\xd8")
    while True:
        marker, length = struct.unpack(">HH", stream.read(4))
        if 0xFFC0 <= marker <= 0xFFC2:
            height, width = struct.unpack(">xHH", stream.read(5))
            return "jpeg", width, height
        stream.seek(length - 2, io.SEEK_CUR)


def picture(image):
    return base64.b64decode(image["ImageContent"], validate=True)


def control_plane(control):
    streams = []
    for page in control.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2}):
        check("list_streams: at most PageSize a page", len(page["StreamInfoList"]) <= 2, page)
        streams += [info["StreamName"] for info in page["StreamInfoList"]]
    equal("list_streams: all of them", streams, NAMES)
    found = control.list_streams(
        StreamNameCondition={"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "o"}
    )
    equal("list_streams: by prefix", [i["StreamName"] for i in found["StreamInfoList"]], ["off", "outage"])
    refused("list_streams: MaxResults", control.list_streams, "ValidationException", 400, MaxResults=10001)
    refused("list_streams: NextToken", control.list_streams, "InvalidArgumentException", 400, NextToken="x")

    info = control.describe_stream(StreamName="cam-1")["StreamInfo"]
    equal("describe_stream: status and retention", (info["Status"], info["DataRetentionInHours"]), ("ACTIVE", 24))
    check("describe_stream: creation time", info["CreationTime"] < NOW, info)
    same = control.describe_stream(StreamARN=info["StreamARN"])["StreamInfo"]
    equal("describe_stream: by ARN", same, info)
    describe = control.describe_stream
    refused("describe_stream: absent", describe, "ResourceNotFoundException", 404, StreamName="absent")
    refused("describe_stream: neither", describe, "InvalidArgumentException", 400)
    refused("describe_stream: denied", describe, "NotAuthorizedException", 401, StreamName="denied")
    refused("describe_stream: expired", describe, "ExpiredTokenException", 403, StreamName="expired")
    refused("describe_stream: name", describe, "ValidationException", 400, StreamName="a b")
    for name in ("creating", "deleting", "updating"):
        equal(f"describe_stream: {name}", describe(StreamName=name)["StreamInfo"]["Status"], name.upper())
    throttled("describe_stream: busy", describe, StreamName="busy")

    get = control.get_data_endpoint
    refused("get_data_endpoint: absent", get, "ResourceNotFoundException", 404, APIName="GET_IMAGES", StreamName="absent")
    refused("get_data_endpoint: no stream", get, "InvalidArgumentException", 400, APIName="GET_IMAGES")
    refused("get_data_endpoint: API", get, "ValidationException", 400, APIName="GET_RICH", StreamName="cam-1")
    refused("get_data_endpoint: denied", get, "NotAuthorizedException", 401, APIName="GET_IMAGES", StreamName="denied")
    for name in ("creating", "deleting"):
        refused(f"get_data_endpoint: {name}", get, "ResourceNotFoundException", 404, APIName="GET_IMAGES", StreamName=name)
    throttled("get_data_endpoint: busy", get, APIName="GET_IMAGES", StreamName="busy")
    return info["StreamARN"]


def valid(**changes):
    """A request for six images of cam-1; a change to None leaves a parameter out."""
    parameters = {
        "StreamName": "cam-1",
        "ImageSelectorType": "SERVER_TIMESTAMP",
        "StartTimestamp": MINUTE,
        "EndTimestamp": MINUTE + seconds(1),
        "SamplingInterval": 200,
        "Format": "JPEG",
    } | changes
    return {name: value for name, value in parameters.items() if value is not None}


def images(data, arn):
    def get(**changes):
        return data.get_images(**valid(**changes))["Images"]

    plain = get()
    equal("get_images: one each 200 ms", [i["TimeStamp"] for i in plain], [MINUTE + seconds(n / 5) for n in range(6)])
    check("get_images: no errors", not any("Error" in i for i in plain), plain)
    check("get_images: different pictures", len({i["ImageContent"] for i in plain}) == 6)
    equal("get_images: JPEG of the video's size", size_of(picture(plain[0])), ("jpeg", 320, 180))
    equal("StreamARN", get(StreamName=None, StreamARN=arn), plain)
    equal("ImageSelectorType: PRODUCER_TIMESTAMP", get(ImageSelectorType="PRODUCER_TIMESTAMP"), plain)
    sparse = get(SamplingInterval=400)
    equal("SamplingInterval", sparse, plain[::2])
    equal("SamplingInterval: longer than the range", get(SamplingInterval=5000), plain[:1])
    equal("StartTimestamp: milliseconds", get(StartTimestamp=MINUTE + seconds(-0.2))[1:], plain)
    equal("EndTimestamp: included", get(EndTimestamp=MINUTE + seconds(0.4)), plain[:3])
    equal("Format: PNG", size_of(picture(get(Format="PNG")[0])), ("png", 320, 180))
    sizes = [len(get(FormatConfig={"JPEGQuality": q})[0]["ImageContent"]) for q in ("1", "80", "100")]
    check("FormatConfig: JPEGQuality", sizes[0] < sizes[1] < sizes[2], sizes)
    equal("FormatConfig: 80 is the default", get(FormatConfig={"JPEGQuality": "80"}), plain)
    stretched = picture(get(WidthPixels=100, HeightPixels=90)[0])
    equal("WidthPixels, HeightPixels: stretched", size_of(stretched), ("jpeg", 100, 90))

    page = data.get_images(**valid(MaxResults=4))
    equal("MaxResults", page["Images"], plain[:4])
    rest = data.get_images(**valid(MaxResults=4, NextToken=page["NextToken"]))
    equal("NextToken", rest["Images"], plain[4:])
    check("NextToken: none on the last page", "NextToken" not in rest, rest)
    large = data.get_images(**valid(MaxResults=100, EndTimestamp=MINUTE + seconds(20)))
    equal("MaxResults: never more than 25 a page", len(large["Images"]), 25)

    wide = valid(EndTimestamp=MINUTE + seconds(20))
    pages = list(data.get_paginator("get_images").paginate(**wide))
    equal("paginator: pages", [len(p["Images"]) for p in pages], [25, 25, 25, 25, 1])
    times = [i["TimeStamp"] for p in pages for i in p["Images"]]
    equal("paginator: every instant once", times, [MINUTE + seconds(n / 5) for n in range(101)])
    some = data.get_paginator("get_images").paginate(**wide, PaginationConfig={"PageSize": 10, "MaxItems": 32})
    equal("paginator: PageSize, MaxItems", len(some.build_full_result()["Images"]), 32)

    inside = MINUTE + seconds(1.1)
    one = get(StartTimestamp=inside, EndTimestamp=inside)
    equal("StartTimestamp: the image there, within a fragment", [i["TimeStamp"] for i in one], [inside])
    check("StartTimestamp: it is a picture", "ImageContent" in one[0], one)
    equal("an updating stream", len(get(StreamName="updating")), 6)

    late = get(StartTimestamp=MINUTE + seconds(1.6), EndTimestamp=MINUTE + seconds(2.2))
    equal("NO_MEDIA before the first fragment", [i.get("Error") for i in late], ["NO_MEDIA", "NO_MEDIA", None, None])
    equal("MEDIA_ERROR without keyframes", [i["Error"] for i in get(StreamName="audio")], ["MEDIA_ERROR"] * 6)


def image_errors(data):
    def no(name, code, status=400, **changes):
        refused("get_images: " + name, data.get_images, code, status, **valid(**changes))

    no("absent", "ResourceNotFoundException", 404, StreamName="absent")
    no("no fragments", "ResourceNotFoundException", 404, StreamName="outage")
    day = dt.timedelta(days=2)
    old = {"StartTimestamp": MINUTE - day, "EndTimestamp": MINUTE - day + seconds(1)}
    no("beyond retention, server", "InvalidArgumentException", **old)
    no("beyond retention, producer", "ResourceNotFoundException", 404, ImageSelectorType="PRODUCER_TIMESTAMP", **old)
    no("no retention", "NoDataRetentionException", StreamName="off")
    no("creating", "ResourceNotFoundException", 404, StreamName="creating")
    no("deleting", "ResourceNotFoundException", 404, StreamName="deleting")
    no("expired", "ExpiredTokenException", 403, StreamName="expired")
    first = data.get_images(**valid(StreamName="hasty", MaxResults=1))
    time.sleep(0.1)
    no("expired token", "InvalidArgumentException", StreamName="hasty", NextToken=first["NextToken"])
    no("empty configuration", "ValidationException", FormatConfig={})
    no("denied", "NotAuthorizedException", 401, StreamName="denied")
    no("more than 300 s", "IllegalArgumentException", EndTimestamp=MINUTE + seconds(301))
    no("backwards", "InvalidArgumentException", EndTimestamp=MINUTE - seconds(1))
    no("no stream", "InvalidArgumentException", StreamName=None)
    no("interval below 200 ms", "InvalidArgumentException", SamplingInterval=199)
    no("quality", "InvalidArgumentException", FormatConfig={"JPEGQuality": "101"})
    no("token", "InvalidArgumentException", NextToken="madeup")
    for name in ("ImageSelectorType", "StartTimestamp", "EndTimestamp", "Format"):
        no("without " + name, "ValidationException", **{name: None})
    no("format", "ValidationException", Format="GIF")
    no("width alone", "ValidationException", WidthPixels=640)
    no("height alone", "ValidationException", HeightPixels=640)
    no("too wide", "ValidationException", WidthPixels=3841, HeightPixels=1)
    no("too high", "ValidationException", WidthPixels=1, HeightPixels=2161)
    no("MaxResults", "ValidationException", MaxResults=101)
    wide = valid(StreamName="busy", EndTimestamp=MINUTE + seconds(299), MaxResults=100)
    throttled("get_images: busy", data.get_images, **wide)


def fragments(data):
    between = {
        "FragmentSelectorType": "SERVER_TIMESTAMP",
        "TimestampRange": {"StartTimestamp": MINUTE, "EndTimestamp": MINUTE + seconds(60)},
    }
    pages = list(
        data.get_paginator("list_fragments").paginate(
            StreamName="cam-1", FragmentSelector=between, PaginationConfig={"PageSize": 10}
        )
    )
    found = [f for p in pages for f in p["Fragments"]]
    equal("list_fragments: pages", [len(p["Fragments"]) for p in pages], [10, 10, 10, 1])
    equal("list_fragments: starts", [f["ServerTimestamp"] for f in found], [MINUTE + seconds(2 * n) for n in range(31)])
    equal("list_fragments: lengths", {f["FragmentLengthInMilliseconds"] for f in found}, {2000})
    equal("list_fragments: numbers", len({f["FragmentNumber"] for f in found}), 31)
    check("list_fragments: sizes", all(f["FragmentSizeInBytes"] > 0 for f in found), found)
    refused(
        "list_fragments: denied", data.list_fragments, "NotAuthorizedException", 401,
        StreamName="denied", FragmentSelector=between,
    )


def main():
    control = client("kinesisvideo", sys.argv[1])
    arn = control_plane(control)
    endpoints = {
        api: control.get_data_endpoint(APIName=api, StreamName="cam-1")["DataEndpoint"]
        for api in ("GET_IMAGES", "LIST_FRAGMENTS")
    }
    check("get_data_endpoint: an address", endpoints["GET_IMAGES"].startswith("http://"), endpoints)
    media = client("kinesis-video-archived-media", endpoints["GET_IMAGES"])
    images(media, arn)
    image_errors(media)
    fragments(client("kinesis-video-archived-media", endpoints["LIST_FRAGMENTS"]))
    print("all is as boto3 wants it")


main()
