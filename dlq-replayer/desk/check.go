package desk

import "errors"

// Check tells what is wrong with an order, but for its reason. It does no I/O.
func (d *Desk) Check(order Order) error {
	if err := order.validate(); err != nil {
		return err
	}
	if order.Action == Repair && d.cfg.Changer == nil {
		return errors.New("letters cannot be repaired here")
	}
	_, err := d.matcher(order.Selection, order.Action.usual())
	return err
}
