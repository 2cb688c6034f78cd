package modelfile

import (
	"regexp"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// imgsz matches the size in the metadata of Ultralytics' exports.
var imgsz = regexp.MustCompile(`(?m)^imgsz:`)

// lines returns the keys of the first level of a YAML file, with their values. Lists and what
// is deeper are joined, whichever way they are written.
func lines(text string) map[string]string {
	keys := map[string]string{}
	last := ""
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch item, listed := strings.CutPrefix(strings.TrimSpace(line), "- "); {
		case listed:
			keys[last] += item + " "
		case ok && !strings.HasPrefix(line, " "):
			last = key
			keys[key] = strings.TrimSpace(value)
		default:
			keys[last] += strings.TrimSpace(line) + " "
		}
	}
	return keys
}

// readUltralytics reads the metadata of an export: of a metadata.yaml, or in an ONNX model.
func readUltralytics(keys map[string]string) (*Found, error) {
	f := &Found{Kind: "an export of Ultralytics"}
	var why cannot
	size := numbers.FindAllString(keys["imgsz"], -1)
	if len(size) == 1 {
		size = append(size, size[0])
	}
	if len(size) != 2 {
		why.add("imgsz %q: height and width are needed", keys["imgsz"])
		return nil, why.err(f.Kind)
	}
	preset := "yolo"
	task := strings.Trim(keys["task"], `"'`)
	switch {
	case task == "classify":
		preset = "yolo-cls"
	case strings.Contains(keys["description"], "RT-DETR") || strings.Contains(keys["description"], "RTDETR"):
		preset = "rtdetr-ultralytics"
	}
	s, err := transform.Preset(preset)
	if err != nil {
		return nil, err
	}
	if s.Width, s.Height, err = transform.ParseSize(size[1] + "x" + size[0]); err != nil {
		why.add("imgsz %q: %v", keys["imgsz"], err)
	}
	if c := keys["channels"]; c != "" && c != "3" {
		why.add("%s channels: 3 are needed", c)
	}
	f.Spec = s
	if argument(keys["args"], "half") {
		f.Spec.DType = transform.Float16
	}
	if argument(keys["args"], "dynamic") {
		f.note("the model takes pictures of any size whose sides are multiples of %s; Ultralytics itself gives it %sx%s or less", keys["stride"], size[1], size[0])
	}
	return f, why.err(f.Kind)
}

// argument tells whether an argument of the export was true, in YAML or as Python writes it.
func argument(args, name string) bool {
	return strings.Contains(args, "'"+name+"': True") || strings.Contains(" "+args, " "+name+": true")
}
