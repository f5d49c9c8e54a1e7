{{- /* Puts the values into the pods of a Deployment or DaemonSet: dict "root" $ "object" OBJECT; it prints nothing. */ -}}
{{- define "mintfs.pods" }}
{{- $values := .root.Values }}
{{- $pod := .object.spec.template.spec }}
{{- $own := ternary $values.gateway $values.node (eq .object.kind "Deployment") }}
{{- if eq .object.kind "Deployment" }}{{ $_ := set .object.spec "replicas" $values.gateway.replicas }}{{ end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $own $key }}{{ $_ := set $pod $key . }}{{ end }}
{{- end }}
{{- with $values.imagePullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- range $container := $pod.containers }}
{{- if eq $container.image "mintfs" }}
{{- $_ := set $container "image" (printf "%s:%v" $values.image.repository $values.image.tag) }}
{{- with $values.image.pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end }}
{{- end }}
{{- $resources := ternary $own.resources (get $own.resources $container.name) (eq $container.name "gateway") }}
{{- with $resources }}{{ $_ := set $container "resources" . }}{{ end }}
{{- end }}
{{- end }}
