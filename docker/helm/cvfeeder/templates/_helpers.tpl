{{- define "cvfeeder.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of the Deployment. */}}
{{- define "cvfeeder.workload" -}}
{{- if eq .Values.mode "standalone" -}}
{{- include "cvfeeder.fullname" . -}}
{{- else -}}
{{- default (include "cvfeeder.fullname" .) .Values.model.name -}}
{{- end -}}
{{- end -}}

{{- define "cvfeeder.serviceAccountName" -}}
{{- default (ternary (include "cvfeeder.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The labels by which the Deployment and its budget select its pods. */}}
{{- define "cvfeeder.selector" -}}
app.kubernetes.io/name: {{ include "cvfeeder.workload" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels by which everything else selects pods with a cvfeeder. */}}
{{- define "cvfeeder.feeders" -}}
cvfeeder.dev/feeder: "true"
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of pods with a cvfeeder. Dashboards and alerts look for the job "cvfeeder". */}}
{{- define "cvfeeder.podLabels" -}}
{{ include "cvfeeder.feeders" . }}
cvfeeder.dev/job: cvfeeder
{{- end -}}

{{- define "cvfeeder.labels" -}}
{{ include "cvfeeder.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cvfeeder.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* What Pod Security "restricted" asks of a container, and more. */}}
{{- define "cvfeeder.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "cvfeeder.podSecurityContext" -}}
runAsNonRoot: true
fsGroup: 65532 # reads the token of IAM roles for service accounts
seccompProfile: {type: RuntimeDefault}
{{- end -}}
