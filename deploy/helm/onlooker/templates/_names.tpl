{{/* Names and labels of all objects. */}}
{{- define "onlooker.name" -}}
{{- if contains "onlooker" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-onlooker" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end -}}
{{- end }}
{{- define "onlooker.selector" -}}
app.kubernetes.io/name: onlooker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "onlooker.labels" -}}
{{ include "onlooker.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
