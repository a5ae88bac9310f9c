package interop_test

import (
	"github.com/gin-gonic/gin"

	"github.com/tokenbooth/tokenbooth"
)

// recipe:begin
func requireGin(guard *tokenbooth.Guard, scope string) gin.HandlerFunc {
	return func(c *gin.Context) {
		who, err := guard.Check(c.Request, scope)
		if err != nil {
			guard.Refuse(c.Writer, err)
			c.Abort() // or gin runs the handler all the same
			return
		}
		c.Request = c.Request.WithContext(tokenbooth.ContextWithPrincipal(c.Request.Context(), who))
	}
}

// recipe:end
