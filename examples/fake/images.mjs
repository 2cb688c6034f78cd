// Print a picture a second of a camera: node images.mjs cam-1
import { GetDataEndpointCommand, KinesisVideoClient } from "@aws-sdk/client-kinesis-video";
import { KinesisVideoArchivedMediaClient, paginateGetImages } from "@aws-sdk/client-kinesis-video-archived-media";

const StreamName = process.argv[2];
const video = new KinesisVideoClient();
const { DataEndpoint: endpoint } = await video.send(new GetDataEndpointCommand({ StreamName, APIName: "GET_IMAGES" }));
const client = new KinesisVideoArchivedMediaClient({ endpoint });
const end = Date.now() - 10_000;
const pages = paginateGetImages({ client }, {
  StreamName, ImageSelectorType: "SERVER_TIMESTAMP", Format: "JPEG", SamplingInterval: 1000,
  StartTimestamp: new Date(end - 10_000), EndTimestamp: new Date(end),
});
for await (const { Images } of pages) {
  for (const image of Images) {
    // The content is Base64, and an image without one says why.
    console.log(image.TimeStamp.toISOString(), (image.ImageContent ?? image.Error).slice(0, 8));
  }
}
