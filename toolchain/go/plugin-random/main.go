// Command pulumi-resource-random is the Pulumi random provider built from Go modules: the bridge over the same
// Terraform provider that the official plugin bridges.
//
// The module's path lies below the Terraform provider's own, because Go lets only such a module import its
// internal/provider package.
package main

import (
	"context"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"github.com/terraform-providers/terraform-provider-random/internal/provider"
)

// version is set by the linker to the version of the pulumi-random SDK that the program imports.
var version string

func resource(name string) *tfbridge.ResourceInfo {
	return &tfbridge.ResourceInfo{Tok: tfbridge.MakeResource("random", "index", name)}
}

func main() {
	info := tfbridge.ProviderInfo{
		P:              pf.ShimProvider(provider.New()),
		Name:           "random",
		ResourcePrefix: "random",
		Version:        version,
		MetadataInfo:   tfbridge.NewProviderMetadata([]byte("{}")),
		Resources: map[string]*tfbridge.ResourceInfo{
			"random_bytes":    resource("RandomBytes"),
			"random_id":       resource("RandomId"),
			"random_integer":  resource("RandomInteger"),
			"random_password": resource("RandomPassword"),
			"random_pet":      resource("RandomPet"),
			"random_shuffle":  resource("RandomShuffle"),
			"random_string":   resource("RandomString"),
			"random_uuid":     resource("RandomUuid"),
			"random_uuid4":    resource("RandomUuid4"),
			"random_uuid7":    resource("RandomUuid7"),
		},
	}
	pf.Main(context.Background(), "random", info, pf.ProviderMetadata{PackageSchema: []byte(`{"name":"random"}`)})
}
