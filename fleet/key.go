package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	"vmtb/internal/atomicfile"
)

// Roles of keys.
const (
	roleAdmin  = "admin"
	roleSubmit = "submit"
	roleDUT    = "dut"
)

// serverName is the name in the engine's certificate. Clients check this name at any address of the
// engine.
const serverName = "vmtb-fleet"

// A key is the content of a key file: the engine's address and certificate, and the client's
// secret.
type key struct {
	URL  string `json:"url"`
	Name string `json:"name"`
	Role string `json:"role"`
	CA   string `json:"ca"`             // PEM; "" trusts the system's certificates
	Host string `json:"host,omitempty"` // name in the engine's certificate; "": the name of vmtb-fleet serve
	Seed string `json:"seed"`
}

// newKey makes a key with a new secret. public is the public half of the secret.
func newKey(url, name, role, ca string) (k key, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return k, "", err
	}
	seed, err := pair.Seed()
	if err != nil {
		return k, "", err
	}
	public, err = pair.PublicKey()
	return key{URL: url, Name: name, Role: role, CA: ca, Seed: string(seed)}, public, err
}

func (k key) write(path string) error {
	return atomicfile.WriteFile(path, append(encode(k), '\n'), 0o600)
}

// readKey reads a key file. Only the owner may have permissions for the file.
func readKey(path string) (k key, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return k, usagef("key: %w (--key names it; \"vmtb-fleet enroll\" makes one)", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		return k, usagef("key %s can be read by others: chmod 600 %[1]s", path)
	}
	return parseKey(path, data)
}

func parseKey(path string, data []byte) (k key, err error) {
	if err := json.Unmarshal(data, &k); err != nil {
		return k, usagef("key %s: %v", path, err)
	}
	if _, err := nkeys.FromSeed([]byte(k.Seed)); err != nil || k.URL == "" || checkName("name", k.Name) != nil {
		return k, usagef("key %s: its url, name or seed is missing or wrong", path)
	}
	return k, nil
}

// tls returns the configuration with which a client checks the engine's certificate.
func (k key) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: k.Host}
	if k.CA == "" {
		return c, nil
	}
	if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM([]byte(k.CA)) {
		return nil, errors.New("the key has no certificate in PEM")
	}
	if k.Host == "" {
		c.ServerName = serverName
	}
	return c, nil
}

// certificate reads the engine's certificate and private key from dir, or makes them. ca is the
// certificate without the private key.
func certificate(dir string) (cert tls.Certificate, ca string, err error) {
	path := filepath.Join(dir, "cert.pem")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = newCertificate(); err == nil {
			err = atomicfile.WriteFile(path, data, 0o600)
		}
	}
	if err == nil {
		cert, err = tls.X509KeyPair(data, data)
	}
	if err != nil {
		return cert, "", err
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})), nil
}

func newCertificate() ([]byte, error) {
	public, secret, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, public, secret)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	return slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}
