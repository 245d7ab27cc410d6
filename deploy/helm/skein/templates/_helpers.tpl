{{/* Names, labels and the parts that coordinator and workers share. */}}
{{- define "skein.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "skein.labels" -}}
app.kubernetes.io/name: skein
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "skein.selector" -}}
app.kubernetes.io/name: skein
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pods that clients call: LeaderWorkerSet numbers the pods of a group from 0. */}}
{{- define "skein.leaderSelector" -}}
{{ include "skein.selector" . }}
leaderworkerset.sigs.k8s.io/worker-index: "0"
{{- end }}

{{- define "skein.modelPath" -}}
{{- if eq .Values.model.source "bundled" -}}
/opt/skein/models/r1v-nano
{{- else -}}
/model{{ with .Values.model.folder }}/{{ trimPrefix "/" . }}{{ end }}
{{- end -}}
{{- end }}

{{- define "skein.serveSettings" -}}
{{- $own := dict "model" (include "skein.modelPath" .) "tensor-parallel-size" (mul .Values.hosts .Values.ranksPerHost) "device" .Values.device "grpc-address" "0.0.0.0:50051" "metrics-address" "0.0.0.0:9464" "drain-timeout" .Values.drainTimeout -}}
{{- if .Values.http.enabled -}}
{{- $own = set $own "http-address" "0.0.0.0:8000" -}}
{{- end -}}
{{- if gt (int .Values.hosts) 1 -}}
{{- $own = set $own "cluster-address" "0.0.0.0:50050" -}}
{{- end -}}
{{- mergeOverwrite $own .Values.settings | toPrettyJson -}}
{{- end }}

{{- define "skein.podSpec" -}}
automountServiceAccountToken: false
# Kubernetes would add variables for the Service whose names begin like Skein's own.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add .Values.drainTimeout 30 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.device "cuda" }}
{{- with .Values.gpu.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
volumes:
  - name: settings
    configMap: { name: {{ include "skein.name" . }}-settings }
  - name: tmp
    emptyDir: { medium: Memory, sizeLimit: {{ .Values.scratchMemory }} }
  - name: run
    emptyDir: { medium: Memory, sizeLimit: {{ .Values.scratchMemory }} }
  - name: shm
    emptyDir: { medium: Memory, sizeLimit: {{ .Values.sharedMemory }} }
{{- if eq .Values.model.source "persistentVolumeClaim" }}
  - name: model
    persistentVolumeClaim: { claimName: {{ required "model.claimName is needed with a claim" .Values.model.claimName }}, readOnly: true }
{{- else if eq .Values.model.source "hostPath" }}
  - name: model
    hostPath: { path: {{ required "model.hostPath is needed with a folder of the hosts" .Values.model.hostPath }}, type: Directory }
{{- end }}
{{- end }}

{{/* What every container has. */}}
{{- define "skein.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with .Values.extraCapabilities }}
    add: {{- toYaml . | nindent 6 }}
    {{- end }}
volumeMounts:
  - { name: settings, mountPath: /etc/skein, readOnly: true }
  - { name: tmp, mountPath: /tmp }
  - { name: run, mountPath: /run/skein }
  - { name: shm, mountPath: /dev/shm }
  {{- if ne .Values.model.source "bundled" }}
  - { name: model, mountPath: /model, readOnly: true }
  {{- end }}
{{- end }}

{{- define "skein.ncclEnvironment" -}}
{{- if eq .Values.device "cuda" }}
- { name: NCCL_SOCKET_IFNAME, value: {{ .Values.network.interface | quote }} }
{{- range $name, $value := .Values.network.nccl }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}
{{- end }}

{{/* Resources of the containers that hold ranks. */}}
{{- define "skein.rankResources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if eq .Values.device "cuda" -}}
{{- $gpus := dict .Values.gpu.resourceName .Values.ranksPerHost -}}
{{- $resources = mergeOverwrite $resources (dict "limits" $gpus "requests" $gpus) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{- define "skein.coordinator" -}}
- name: coordinator
  {{- include "skein.container" . | nindent 2 }}
  args: [serve]
  env:
    - { name: SKEIN_SETTINGS, value: /etc/skein/serve.json }
    # The image's own would win over the file.
    - { name: SKEIN_MODEL, value: "" }
    - { name: SKEIN_GRPC_ADDRESS, value: "" }
    {{- with .Values.extraEnvironment }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "skein.ncclEnvironment" . | nindent 4 }}
  ports:
    - { name: grpc, containerPort: 50051 }
    - { name: metrics, containerPort: 9464 }
    {{- if .Values.http.enabled }}
    - { name: http, containerPort: 8000 }
    {{- end }}
    {{- if gt (int .Values.hosts) 1 }}
    - { name: cluster, containerPort: 50050 }
    {{- end }}
  startupProbe:
    grpc: { port: 50051, service: startup }
    periodSeconds: {{ .Values.probes.periodSeconds }}
    timeoutSeconds: 5
    failureThreshold: {{ div (mul .Values.probes.startupMinutes 60) .Values.probes.periodSeconds }}
  readinessProbe:
    grpc: { port: 50051, service: ready }
    periodSeconds: {{ .Values.probes.periodSeconds }}
    timeoutSeconds: 5
  livenessProbe:
    grpc: { port: 50051, service: live }
    periodSeconds: {{ .Values.probes.periodSeconds }}
    timeoutSeconds: 5
    failureThreshold: 6
  resources:
    {{- if gt (int .Values.hosts) 1 }}
    {{- toYaml .Values.coordinatorResources | nindent 4 }}
    {{- else }}
    {{- include "skein.rankResources" . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "skein.workers" -}}
- name: workers
  {{- include "skein.container" . | nindent 2 }}
  # One container for the ranks of a host: NCCL joins GPUs directly only where one container sees them.
  command: [skein-workers]
  env:
    - { name: SKEIN_SETTINGS, value: /etc/skein/worker.json }
    - { name: SKEIN_NUM_WORKERS, value: {{ .Values.ranksPerHost | quote }} }
    - { name: SKEIN_DEVICE, value: {{ .Values.device }} }
    - name: SKEIN_WORKER_HOST
      valueFrom: { fieldRef: { fieldPath: status.podIP } }
    {{- include "skein.ncclEnvironment" . | nindent 4 }}
  ports:
    {{- range $index := until (int .Values.ranksPerHost) }}
    - { name: worker-{{ $index }}, containerPort: {{ add 50060 $index }} }
    {{- end }}
  startupProbe:
    grpc: { port: 50060, service: startup }
    periodSeconds: {{ .Values.probes.periodSeconds }}
    timeoutSeconds: 5
    failureThreshold: 30
  livenessProbe:
    grpc: { port: 50060, service: live }
    periodSeconds: {{ .Values.probes.periodSeconds }}
    timeoutSeconds: 5
    failureThreshold: 6
  resources: {{- include "skein.rankResources" . | nindent 4 }}
{{- end }}

{{- define "skein.podMetadata" -}}
labels:
  {{- include "skein.labels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # Other settings, other pods.
  checksum/settings: {{ include (print $.Template.BasePath "/settings.yaml") . | sha256sum }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
