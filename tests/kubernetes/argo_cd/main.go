// Argo CD's application controller on the cluster of KUBECONFIG, with a folder in place of its repository server, and
// its own memory in place of Redis. In the folder, HEAD names the subfolder that is the head of the repository; its manifests are made by the
// very function by which the repository server makes them.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	commitclient "github.com/argoproj/argo-cd/v3/commitserver/apiclient"
	"github.com/argoproj/argo-cd/v3/controller"
	"github.com/argoproj/argo-cd/v3/controller/sharding"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	appclientset "github.com/argoproj/argo-cd/v3/pkg/client/clientset/versioned"
	"github.com/argoproj/argo-cd/v3/pkg/ratelimiter"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	cacheutil "github.com/argoproj/argo-cd/v3/util/cache"
	appstatecache "github.com/argoproj/argo-cd/v3/util/cache/appstate"
	"github.com/argoproj/argo-cd/v3/util/git"
	utilio "github.com/argoproj/argo-cd/v3/util/io"
	kubeutil "github.com/argoproj/argo-cd/v3/util/kube"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

type folder struct {
	apiclient.RepoServerServiceClient
	path string
}

func (f folder) NewRepoServerClient() (utilio.Closer, apiclient.RepoServerServiceClient, error) {
	return utilio.NopCloser, f, nil
}

func (f folder) head() (string, error) {
	text, err := os.ReadFile(filepath.Join(f.path, "HEAD"))
	return strings.TrimSpace(string(text)), err
}

func (f folder) GenerateManifest(ctx context.Context, in *apiclient.ManifestRequest, _ ...grpc.CallOption) (*apiclient.ManifestResponse, error) {
	head, err := f.head()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(f.path, head)
	made, err := repository.GenerateManifests(
		ctx, filepath.Join(root, in.ApplicationSource.Path), root, head, in, false, git.NoopCredsStore{}, resource.MustParse("0"), nil)
	if err != nil {
		return nil, err
	}
	made.Revision = head
	return made, nil
}

func (f folder) ResolveRevision(context.Context, *apiclient.ResolveRevisionRequest, ...grpc.CallOption) (*apiclient.ResolveRevisionResponse, error) {
	head, err := f.head()
	return &apiclient.ResolveRevisionResponse{Revision: head}, err
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(namespace, path string) error {
	ctx := context.Background()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	if err := v1alpha1.SetK8SConfigDefaults(config); err != nil {
		return err
	}
	client := kubernetes.NewForConfigOrDie(config)
	known := settings.NewSettingsManager(ctx, client, namespace)
	shards, err := sharding.GetClusterSharding(client, known, "", false)
	if err != nil {
		return err
	}
	memory := appstatecache.NewCache(cacheutil.NewCache(cacheutil.NewInMemoryCache(time.Hour)), time.Hour)
	argo, err := controller.NewApplicationController(
		namespace, known, client, appclientset.NewForConfigOrDie(config), folder{path: path}, commitclient.NewCommitServerClientset(""), memory,
		kubeutil.NewKubectl(),
		time.Hour, 0, 0, // a repository is looked at when an Application is told to
		time.Second, nil, 0, 0, 0, // heals at once what somebody else changed, where an Application is to heal itself
		0, 0, nil, nil, nil, 20, true, shards, nil, ratelimiter.GetDefaultAppRateLimiterConfig(), false, false,
		normalizers.IgnoreNormalizerOpts{JQExecutionTimeout: 10 * time.Second}, nil, false)
	if err != nil {
		return err
	}
	argo.GetMetricsServer().Addr = "127.0.0.1:0" // and not on every address
	argo.Run(ctx, 4, 4)
	return nil
}
