{{/* The container of cvfeeder, as a list of one. */}}
{{- define "cvfeeder.container" -}}
- name: cvfeeder
  image: {{ include "cvfeeder.image" . | quote }}
  {{- with .Values.image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  args: [run, -c, /etc/cvfeeder/cvfeeder.yaml]
  {{- if ne .Values.mode "standalone" }}
  restartPolicy: Always # a native sidecar: it starts before the model and stops after it
  {{- end }}
  ports:
    - {name: metrics, containerPort: 9177}
  startupProbe: # up to a minute for AWS and NATS
    httpGet: {path: /healthz, port: metrics}
    periodSeconds: 2
    failureThreshold: 30
  livenessProbe: # not /readyz, because a restart does not repair a camera
    httpGet: {path: /healthz, port: metrics}
    periodSeconds: 10
    timeoutSeconds: 3
  readinessProbe:
    httpGet: {path: /readyz, port: metrics}
    periodSeconds: 5
    timeoutSeconds: 3
  resources: {{- toYaml .Values.resources | nindent 4 }}
  env:
    {{- if not (dig "limits" "cpu" "" .Values.resources) }}
    - {name: GOMAXPROCS, value: {{ .Values.cores | quote }}}
    {{- end }}
    - {name: GOMEMLIMIT, value: {{ .Values.goMemLimit | quote }}}
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.envFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "cvfeeder.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: config, mountPath: /etc/cvfeeder, readOnly: true} # a directory, because a subPath is never updated
    - {name: tmp, mountPath: /tmp}
    {{- if .Values.memory.enabled }}
    - {name: tensors, mountPath: /tensors} # open to the pod, so cvfeeder makes a directory in it
    {{- end }}
    {{- with .Values.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* The native sidecars of a pod with a model: with "leaf" the NATS server, and cvfeeder. */}}
{{- define "cvfeeder.initContainers" -}}
{{- if eq .Values.mode "leaf" -}}
- name: nats
  image: {{ .Values.leaf.image | quote }}
  restartPolicy: Always
  args: [-c, /etc/nats/nats.conf]
  env:
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
  resources: {{- toYaml .Values.leaf.resources | nindent 4 }}
  securityContext: {{- include "cvfeeder.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: nats, mountPath: /etc/nats, readOnly: true}
{{ end -}}
{{ include "cvfeeder.container" . }}
{{- end -}}

{{/* The volumes of a pod with a cvfeeder. */}}
{{- define "cvfeeder.volumes" -}}
{{- if eq .Values.mode "leaf" -}}
- name: nats
  configMap: {name: {{ include "cvfeeder.leafName" . }}}
{{ end -}}
- name: config
  configMap: {name: {{ include "cvfeeder.fullname" . }}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if .Values.memory.enabled }}
- name: tensors
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.memory.sizeLimit }}}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The leaf node's config map has another name when it changes, so that the pods are replaced:
unlike cvfeeder, the NATS server does not read it again. */}}
{{- define "cvfeeder.leafName" -}}
{{ printf "%s-nats-leaf-%s" (include "cvfeeder.fullname" .) (include "cvfeeder.leafConfig" . | sha256sum | trunc 10) }}
{{- end -}}

{{/* The model's container, as a list of one. */}}
{{- define "cvfeeder.model" -}}
{{- $c := deepCopy (default dict .Values.model.container) -}}
{{- if not $c.image -}}
{{- fail "\n\nmodel.container.image is missing: say what runs beside cvfeeder, for example\n\n  --set model.container.image=registry.example/model:v1\n\nor leave the pods to another chart with --set model.enabled=false\n" -}}
{{- end -}}
{{- $named := false -}}
{{- range $c.env -}}{{- if eq .name "NATS_URL" -}}{{- $named = true -}}{{- end -}}{{- end -}}
{{- if not $named -}}
{{- $_ := set $c "env" (prepend (default list $c.env) (dict "name" "NATS_URL" "value" "nats://127.0.0.1:4222")) -}}
{{- end -}}
{{- if .Values.memory.enabled -}}
{{- $_ := set $c "env" (append $c.env (dict "name" "CVFEEDER_MEMORY" "value" "/tensors/cvfeeder")) -}}
{{- $_ := set $c "volumeMounts" (append (default list $c.volumeMounts) (dict "name" "tensors" "mountPath" "/tensors" "readOnly" true)) -}}
{{- end -}}
{{- list (merge $c (dict "name" "model" "securityContext" (include "cvfeeder.securityContext" . | fromYaml))) | toYaml -}}
{{- end -}}
