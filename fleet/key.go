package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nkeys"
)

// Roles of keys.
const (
	roleAdmin  = "admin"
	roleSubmit = "submit"
	roleDUT    = "dut"
)

// serverName is the name in the engine's certificate: clients check it wherever they find the
// engine.
const serverName = "vmtb-fleet"

// A key is all that a client needs: where the engine is, by what it is known, and the client's own
// secret. It is a file of its own.
type key struct {
	URL  string `json:"url"`
	Name string `json:"name"`
	Role string `json:"role"`
	CA   string `json:"ca"`             // PEM; "" trusts the system's certificates
	Host string `json:"host,omitempty"` // name in the engine's certificate; "" is that of vmtb-fleet serve
	Seed string `json:"seed"`
}

// newKey makes the secret of a client.
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

func (k key) write(path string) error { return writeFile(path, append(encode(k), '\n'), 0o600) }

// readKey reads a key file, which only its owner may read.
func readKey(path string) (k key, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, usageError{fmt.Errorf("key: %w (--key names it; \"vmtb-fleet enroll\" makes one)", err)}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return k, usagef("key %s can be read by others: chmod 600 %[1]s", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return k, usageError{err}
	}
	return parseKey(path, data)
}

func parseKey(path string, data []byte) (k key, err error) {
	if err := json.Unmarshal(data, &k); err != nil {
		return k, usagef("key %s: %v", path, err)
	}
	if _, err := nkeys.FromSeed([]byte(k.Seed)); err != nil || k.URL == "" || checkName("name", k.Name) != nil {
		return k, usagef("key %s: it has no url, name or seed that makes sense", path)
	}
	return k, nil
}

// tls is how the engine is recognized.
func (k key) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: k.Host}
	if k.CA == "" {
		return c, nil
	}
	if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM([]byte(k.CA)) {
		return nil, errors.New("key: the certificate in it does not read")
	}
	if k.Host == "" {
		c.ServerName = serverName
	}
	return c, nil
}

// certificate reads the engine's certificate from dir, or makes it.
func certificate(dir string) (cert tls.Certificate, ca string, err error) {
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "cert.key")
	if _, err := os.Stat(certFile); errors.Is(err, os.ErrNotExist) {
		if err := makeCertificate(certFile, keyFile); err != nil {
			return cert, "", err
		}
	}
	if cert, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return cert, "", err
	}
	data, err := os.ReadFile(certFile)
	return cert, string(data), err
}

func makeCertificate(certFile, keyFile string) error {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	block := func(kind string, data []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}) }
	if err := writeFile(keyFile, block("PRIVATE KEY", secret), 0o600); err != nil {
		return err
	}
	return writeFile(certFile, block("CERTIFICATE", der), 0o644)
}

// writeFile writes a file whole or not at all, and onto the disk.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return errors.Join(err, syncDir(filepath.Dir(path)))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
