// Command pulumi-resource-docker is the Pulumi docker provider built from Go modules: the bridge over the same
// Terraform provider that the official plugin bridges. It covers what runs containers (not docker.Image builds).
//
// The module's path lies below the Terraform provider's own, because Go lets only such a module import its
// internal/provider package.
package main

import (
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"

	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// version is set by the linker to the version of the pulumi-docker SDK that the program imports.
var version string

func resource(name string, fields map[string]*tfbridge.SchemaInfo) *tfbridge.ResourceInfo {
	return &tfbridge.ResourceInfo{Tok: tfbridge.MakeResource("docker", "index", name), Fields: fields}
}

func main() {
	// A replacement would claim the name and the ports that the old container still holds.
	container := resource("Container", map[string]*tfbridge.SchemaInfo{
		"command":           {Name: "command"},
		"networks_advanced": {Name: "networksAdvanced"},
	})
	container.DeleteBeforeReplace = true

	info := tfbridge.ProviderInfo{
		P:              shimv2.NewProvider(provider.New(version)()),
		Name:           "docker",
		ResourcePrefix: "docker",
		Version:        version,
		MetadataInfo:   tfbridge.NewProviderMetadata([]byte("{}")),
		Resources: map[string]*tfbridge.ResourceInfo{
			"docker_container":      container,
			"docker_image":          resource("RemoteImage", nil),
			"docker_network":        resource("Network", nil),
			"docker_volume":         resource("Volume", nil),
			"docker_tag":            resource("Tag", nil),
			"docker_registry_image": resource("RegistryImage", nil),
			"docker_plugin":         resource("Plugin", nil),
			"docker_secret":         resource("Secret", nil),
			"docker_config":         resource("ServiceConfig", nil),
			"docker_service":        resource("Service", nil),
			"docker_buildx_builder": resource("BuildxBuilder", nil),
		},
	}
	info.SetAutonaming(255, "-")
	tfbridge.Main("docker", version, info, []byte("{}"))
}
