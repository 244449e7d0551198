{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "arpwhy.name" -}}
{{- if contains "arpwhy" .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-arpwhy" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "arpwhy.selector" -}}
app.kubernetes.io/name: arpwhy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "arpwhy.labels" -}}
{{ include "arpwhy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "arpwhy.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is asked, and how; the kubelet has neither password nor certificate, and needs none. */}}
{{- define "arpwhy.probe" -}}
httpGet:
  path: /healthz
  port: metrics
  {{- if .Values.tls.secret }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
