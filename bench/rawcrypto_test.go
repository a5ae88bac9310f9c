package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"hash"
	"sync"
)

// rawSigner returns what signs in alg with as little around it as the standard
// library allows. It appends the signature, as JWS has it, to dst.
func rawSigner(alg string) func(dst, input []byte) []byte {
	switch k := signingKeys[alg].private.(type) {
	case *ecdsa.PrivateKey:
		return func(dst, input []byte) []byte {
			digest := sha256.Sum256(input)
			return appendFixed(dst, must(ecdsa.SignASN1(rand.Reader, k, digest[:])))
		}
	case *rsa.PrivateKey:
		return func(dst, input []byte) []byte {
			digest := sha256.Sum256(input)
			return append(dst, must(rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:]))...)
		}
	case ed25519.PrivateKey:
		return func(dst, input []byte) []byte { return append(dst, ed25519.Sign(k, input)...) }
	case []byte:
		mac := macPool(k)
		return func(dst, input []byte) []byte {
			h := mac.Get().(hash.Hash)
			h.Reset()
			h.Write(input)
			dst = h.Sum(dst)
			mac.Put(h)
			return dst
		}
	}
	panic(alg)
}

// rawVerifier is rawSigner's other half.
func rawVerifier(alg string) func(input, signature []byte) bool {
	switch k := signingKeys[alg].public.(type) {
	case *ecdsa.PublicKey:
		return func(input, signature []byte) bool {
			if len(signature) != 64 {
				return false
			}
			digest := sha256.Sum256(input)
			var der [72]byte
			return ecdsa.VerifyASN1(k, digest[:], appendDER(der[:0], signature))
		}
	case *rsa.PublicKey:
		return func(input, signature []byte) bool {
			digest := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
		}
	case ed25519.PublicKey:
		return func(input, signature []byte) bool { return ed25519.Verify(k, input, signature) }
	case []byte:
		mac := macPool(k)
		return func(input, signature []byte) bool {
			h := mac.Get().(hash.Hash)
			h.Reset()
			h.Write(input)
			var sum [sha256.Size]byte
			equal := hmac.Equal(h.Sum(sum[:0]), signature)
			mac.Put(h)
			return equal
		}
	}
	panic(alg)
}

func macPool(key []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
}

// appendFixed turns a DER P-256 signature into JWS's r || s.
func appendFixed(dst, der []byte) []byte {
	der = der[2:] // SEQUENCE, length
	for range 2 {
		n := int(der[1]) // INTEGER, length, value
		v := der[2 : 2+n]
		der = der[2+n:]
		if n > 32 {
			v = v[n-32:]
		}
		dst = append(dst, make([]byte, 32-len(v))...)
		dst = append(dst, v...)
	}
	return dst
}

// appendDER is appendFixed's other half.
func appendDER(dst, fixed []byte) []byte {
	start := len(dst)
	dst = append(dst, 0x30, 0)
	for _, v := range [][]byte{fixed[:32], fixed[32:64]} {
		for len(v) > 1 && v[0] == 0 {
			v = v[1:]
		}
		dst = append(dst, 0x02, byte(len(v)))
		if v[0] >= 0x80 {
			dst[len(dst)-1]++
			dst = append(dst, 0)
		}
		dst = append(dst, v...)
	}
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}
