package publish

// Version is the version of the message format, the value of [HeaderVersion].
const Version = "1"

// The headers of a message, each with one value. The names are case-sensitive, as
// NATS headers are.
const (
	HeaderVersion    = "Cvf-Version"          // "1"
	HeaderType       = "Content-Type"         // image/jpeg: the payload is a picture, and not a tensor; absent otherwise
	HeaderLength     = "Content-Length"       // 83211, the bytes of a picture
	HeaderStream     = "Cvf-Stream"           // front-door
	HeaderOutput     = "Cvf-Output"           // detector
	HeaderTime       = "Cvf-Time"             // 2026-01-02T03:04:05.200Z, the slot
	HeaderCapture    = "Cvf-Capture"          // the service's timestamp of the image, in the same form
	HeaderDType      = "Cvf-Dtype"            // FP32, FP16, BF16, UINT8 or INT8
	HeaderShape      = "Cvf-Shape"            // 1,3,640,640; the first number is that of the tiles; of a picture 720,1280,3
	HeaderLayout     = "Cvf-Layout"           // NCHW or NHWC; of a clip NCTHW, NTCHW or NTHWC
	HeaderColor      = "Cvf-Color"            // RGB, BGR or GRAY
	HeaderSource     = "Cvf-Source"           // 1920x1080, the decoded picture's size, once it is rectified
	HeaderAffine     = "Cvf-Affine"           // a,b,c,d,e,f, see transform.Affine; those of tiles with ; between them
	HeaderMap        = "Cvf-Map"              // fisheye;1920x1080;…, from that picture to the camera's, see transform.Rectification; absent where they are the same
	HeaderScale      = "Cvf-Scale"            // 0.00392156862745098
	HeaderMean       = "Cvf-Mean"             // one number a channel: 0.485,0.456,0.406
	HeaderStd        = "Cvf-Std"              // one number a channel: 0.229,0.224,0.225
	HeaderNormalized = "Cvf-Normalized"       // "false" if the consumer must normalize; absent otherwise
	HeaderQuantScale = "Cvf-Quant-Scale"      // 0.0078125 if the elements are quantized; absent otherwise, as the next one
	HeaderQuantZero  = "Cvf-Quant-Zero-Point" // 128: value = (element - zero point) * scale
	HeaderSpec       = "Cvf-Spec"             // the output's fingerprint
	HeaderLate       = "Cvf-Late"             // "true" if the message comes after newer ones; absent otherwise
	HeaderClip       = "Cvf-Clip"             // 2026-01-02T03:04:05.200Z,2026-01-02T03:04:05.400Z!repeat: the slot of each frame of a clip, and what is in the place of one that is missing
	HeaderSince      = "Cvf-Since"            // 2026-01-02T03:04:01.200Z, the slot that passed the output's gate before; absent without a gate
	HeaderBurst      = "Cvf-Burst"            // b7k2m4qx, the burst that the message belongs to; absent otherwise
	HeaderQuality    = "Cvf-Quality"          // 112.4,38.2,182.5,0.001,0.83,0.97,0.4;blurred, see Quality; absent if the camera's pictures were not looked at
	HeaderMsgID      = "Nats-Msg-Id"          // see MessageID

	// The W3C trace context, if the frame is traced: 00-<trace id>-<span id>-01. It says
	// nothing about the tensor, and differs between attempts.
	HeaderTraceparent = "traceparent"

	HeaderReplay = "Cvf-Replay" // the id of the replay job; absent on what is not of one, see ForReplay
	HeaderEnd    = "Cvf-End"    // the number of streams of the job, only at the end of a replay, see NewEnd

	HeaderChunk = "Cvf-Chunk" // 2/5, only on a part of a tensor, see Split

	// Only on a batch across cameras: the stream of each row, percent-escaped, and ! before one
	// that was missing: cam-1,!cam-2. HeaderSource and HeaderAffine then have one value for each
	// row, with ; between them.
	HeaderBatch = "Cvf-Batch"

	HeaderMemory = "Cvf-Memory" // cvf-6f1c.mem;1052672;4915200;17, only where the payload lies in memory, see InMemory

	// Only on an inline gap, see NewInlineGap, where HeaderTime is the first slot.
	HeaderGap      = "Cvf-Gap"       // no_media, the outcome
	HeaderGapTo    = "Cvf-Gap-To"    // 2026-01-02T03:04:05.800Z, the last slot
	HeaderGapSlots = "Cvf-Gap-Slots" // 4

	// Only on the messages of a range that was asked for, see publish/nats/reply.
	HeaderRange         = "Cvf-Range"          // the name of the range, the same on all of its messages
	HeaderRangeSequence = "Cvf-Range-Sequence" // 17: the number of the message, or of the last one before it
	HeaderRangeState    = "Cvf-Range-State"    // open, alive or end: the message carries no tensor and no gap

	// Only on the first message of a range or on its last one.
	HeaderRangeSlots   = "Cvf-Range-Slots"   // 3600: how many slots the range has, or had so far
	HeaderRangeTensors = "Cvf-Range-Tensors" // 3590: how many of them got a tensor
	HeaderRangeImages  = "Cvf-Range-Images"  // 3700: the images that it may cost, or has cost

	// Only on a refusal: how many seconds to wait before another try.
	HeaderRetryAfter = "Cvf-Retry-After" // 1200
)

// The values of [HeaderRangeState].
const (
	RangeOpen  = "open"  // the first message: the request was accepted
	RangeAlive = "alive" // nothing new, but the work goes on
	RangeEnd   = "end"   // the last message
)

// TimeFormat is the layout of every time on the wire: RFC 3339 in UTC with
// milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z07:00"
