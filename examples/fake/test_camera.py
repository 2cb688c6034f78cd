import subprocess

import boto3
import pytest


@pytest.fixture(scope="session")
def kinesis_video():
    """The URL of a fake Kinesis Video service with one camera, cam-1."""
    command = ["cvfeeder", "fake", "--listen", "127.0.0.1:0", "--streams", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fake:
        yield fake.stdout.readline().split()[-1]
        fake.terminate()


def test_camera_is_there(kinesis_video):
    video = boto3.client(
        "kinesisvideo", endpoint_url=kinesis_video,
        region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test",
    )
    assert [s["StreamName"] for s in video.list_streams()["StreamInfoList"]] == ["cam-1"]
