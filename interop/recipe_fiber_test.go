package interop_test

import (
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/tokenbooth/tokenbooth"
)

// recipe:begin
func requireFiber(guard *tokenbooth.Guard, scope string) fiber.Handler {
	return func(c fiber.Ctx) error {
		var who *tokenbooth.Principal // stays nil where the adaptor itself fails
		err := adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := guard.Check(r, scope)
			if err != nil {
				guard.Refuse(w, err)
				return
			}
			who = p
		})(c)
		if who == nil {
			return err
		}
		c.SetContext(tokenbooth.ContextWithPrincipal(c.Context(), who))
		return c.Next()
	}
}

// recipe:end
