{{- define "finetune-operator.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The labels a selector may use: they never change between versions. */}}
{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "finetune-operator.labels" -}}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The Lease by which operators elect their leader, and the Role for it. */}}
{{- define "finetune-operator.leaseName" -}}
{{ include "finetune-operator.fullname" . | trunc 56 | trimSuffix "-" }}-leader
{{- end -}}

{{/* The pods of all FineTuneJobs. */}}
{{- define "finetune-operator.trainerSelector" -}}
matchExpressions:
  - key: finetune-operator.dev/job-uid
    operator: Exists
{{- end -}}

{{/* Takes a list: the image's values and the chart's root. */}}
{{- define "finetune-operator.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say: rules between two values, and keys that the chart sets itself. */}}
{{- define "finetune-operator.validate" -}}
{{- with .Values.settings -}}
{{- if ge (float64 .renewDeadlineSeconds) (float64 .leaseDurationSeconds) -}}
{{- fail (printf "settings.renewDeadlineSeconds: %v must be less than settings.leaseDurationSeconds, %v: lower the first or raise the second" .renewDeadlineSeconds .leaseDurationSeconds) -}}
{{- end -}}
{{- if ge (mulf 2 .retryPeriodSeconds) (float64 .renewDeadlineSeconds) -}}
{{- fail (printf "settings.retryPeriodSeconds: %v must be less than half of settings.renewDeadlineSeconds, %v: lower the first or raise the second" .retryPeriodSeconds .renewDeadlineSeconds) -}}
{{- end -}}
{{- end -}}
{{- if .Values.metrics.secure.enabled -}}
{{- if not .Values.metrics.secure.certSecretName -}}
{{- fail "metrics.secure.certSecretName: name a Secret with tls.crt and tls.key, or set metrics.secure.enabled=false" -}}
{{- end -}}
{{- if eq (int .Values.metrics.secure.port) (int .Values.settings.port) -}}
{{- fail (printf "metrics.secure.port: %v is settings.port too: choose another" .Values.metrics.secure.port) -}}
{{- end -}}
{{- end -}}
{{- $own := include "finetune-operator.labels" . | fromYaml -}}
{{- $labels := dict "podLabels" .Values.podLabels -}}
{{- range $section, $parts := pick .Values "prometheus" "grafana" -}}
{{- range $part, $values := $parts -}}
{{- if kindIs "map" $values -}}
{{- $_ := set $labels (printf "%s.%s.labels" $section $part) $values.labels -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $value, $keys := $labels -}}
{{- range $key := keys $keys | sortAlpha -}}
{{- if hasKey $own $key -}}
{{- fail (printf "%s: the chart sets the label %s itself: remove it" $value $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.podAnnotations "kubectl.kubernetes.io/default-container" -}}
{{- fail "podAnnotations: the chart sets the annotation kubectl.kubernetes.io/default-container itself: remove it" -}}
{{- end -}}
{{- end -}}
