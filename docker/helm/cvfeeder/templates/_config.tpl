{{/* What the mode says of the config file. */}}
{{- define "cvfeeder.defaults" -}}
http:
  listen: 0.0.0.0:9177
  {{- if ne .Values.mode "standalone" }}
  ready: none
  {{- end }}
log: {level: info, format: json}
{{- if eq .Values.mode "standalone" }}
nats: {url: "nats://nats.{{ .Values.networkPolicy.natsNamespace }}.svc:4222"}
delivery: {mode: durable, stream: {replicas: 3}}
cluster: {group: {{ include "cvfeeder.fullname" . }}}
{{- else }}
nats: {url: {{ ternary "embedded" "nats://127.0.0.1:4222" (eq .Values.mode "sidecar") | quote }}}
delivery:
  mode: live
  {{- if .Values.memory.enabled }}
  memory: /tensors/cvfeeder
  memory_bytes: {{ .Values.memory.bytes }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The config file. */}}
{{- define "cvfeeder.config" -}}
{{- if not .Values.config.streams -}}
{{- fail "\n\nconfig.streams is empty: say which cameras to read, for example\n\n  --set 'config.streams[0].prefix=cam-' --set 'config.streams[0].outputs={detector}' --set config.outputs.detector.preset=yolo\n" -}}
{{- end -}}
{{- if and .Values.memory.enabled (eq .Values.mode "standalone") -}}
{{- fail "\n\nmemory.enabled is for the modes sidecar and leaf: standalone has no model in its pods\n" -}}
{{- end -}}
{{- mergeOverwrite (include "cvfeeder.defaults" . | fromYaml) (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* The config file of the leaf node. */}}
{{- define "cvfeeder.leafConfig" -}}
# A leaf of the cluster's NATS, for this pod only.
server_name: $POD_NAME
listen: 127.0.0.1:4222
max_payload: {{ .Values.leaf.maxPayload }} # the cluster's must not be smaller
leafnodes {
  remotes: [{url: {{ .Values.leaf.hub | quote }}}]
}
{{ end -}}
