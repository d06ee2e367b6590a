// Package sigil is the client for Sigil: it asks a server whether a principal may do something now, and lets it
// happen by an honest allow alone. Anything else is a deny: an error, a timeout, a reply that contradicts itself, the
// zero value of Decision, and a decision whose error was ignored.
//
//	client, err := sigil.Connect(ctx, "sigil.example.org:50051",
//		sigil.WithKeyFile("billing", "sigil.example.org", "billing.pem"))
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	if err := client.Require(ctx, sigil.Question{Action: "write", Target: "user/notes"}); err != nil {
//		return err
//	}
//
// The packages below sigil/ are generated from the contracts, whose comments are the reference. Their services are
// called by Client.Trust, Client.Canon and the like, or on Client.Conn. Package verify verifies what a server
// answered.
package sigil
