package secret

// Each driver adds some 6 MB to a binary, which is what it costs to have one image for every platform. None of them
// looks for credentials or opens a connection before a URL of its scheme is opened.
import (
	_ "gocloud.dev/runtimevar/awssecretsmanager" // awssecretsmanager://NAME?region=REGION
	_ "gocloud.dev/runtimevar/gcpsecretmanager"  // gcpsecretmanager://projects/PROJECT/secrets/NAME
)
