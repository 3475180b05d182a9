package desk

import "errors"

// Check tells what is wrong with an order, but for its reason. It does no I/O.
func (d *Desk) Check(order Order) error {
	_, err := d.checked(order)
	return err
}

func (d *Desk) checked(order Order) (*matcher, error) {
	if err := order.validate(); err != nil {
		return nil, err
	}
	if order.Action == Repair && d.cfg.Changer == nil {
		return nil, errors.New("letters cannot be repaired here")
	}
	return d.matcher(order.Selection, order.Action.usual())
}
