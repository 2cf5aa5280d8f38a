"""A small shop that lives: which row changes its next transaction makes. Without a database, to be tested by calling.

The shop knows the rows that it may touch and keeps them as the database's constraints want them: stock is reserved
when an order is placed and taken when it is shipped, so ``reserved`` is always the quantity of the orders that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final

from cdc.shop_model import Change, Now, Order, Plus, Pool, Product, Transaction

PENDING, CONFIRMED, SHIPPED, DELIVERED, CANCELLED = "PENDING", "CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED"
OPEN: Final = (PENDING, CONFIRMED, SHIPPED)
BACKLOG: Final = 400
"""Open orders that a busy shop has; below, it places more than it finishes."""
KEPT_CLOSED: Final = 2000
"""Finished orders that may still be deleted; older ones are forgotten and stay."""
MOST_PRODUCTS: Final = 500


class Shop:
    """The shop's memory. ``next_id`` gives the next primary key of a table, ``random`` decides what happens."""

    def __init__(self, *, random: Random, next_id: Callable[[str], int]) -> None:
        self._random = random
        self._next_id = next_id
        self.customers = Pool()
        self.products: dict[int, Product] = {}
        self.orders: dict[int, Order] = {}
        self._for_sale = Pool()
        self._by_status = {status: Pool() for status in (*OPEN, DELIVERED, CANCELLED)}
        actions: dict[Callable[[], list[Change] | None], float] = {
            # More hands to finish than to begin: the backlog sets the pace of new orders.
            self._place: 20.0,
            self._advance: 100.0,
            self._correct: 5.0,
            self._cancel: 3.0,
            self._delete: 3.0,
            self._hand_over: 0.5,
            self._register: 2.0,
            self._edit_customer: 1.5,
            self._reprice: 0.7,
            self._launch: 0.2,
            self._retire: 0.1,
        }
        self._actions, self._weights = list(actions), list(actions.values())

    def know_customer(self, customer: int) -> None:
        """Take a customer's row into the shop's memory."""
        self.customers.add(customer)

    def know_product(self, product: Product) -> None:
        """Take a product's row and its stock into the shop's memory."""
        self.products[product.id] = product
        if product.active:
            self._for_sale.add(product.id)

    def know_order(self, order: Order) -> None:
        """Take an order's row into the shop's memory."""
        self.orders[order.id] = order
        self._by_status[order.status].add(order.id)
        closed = self._by_status[order.status]
        if order.status not in OPEN and len(closed) > KEPT_CLOSED:
            self._forget(self.orders[closed.draw(self._random)])

    @property
    def open_orders(self) -> int:
        """How many orders are neither delivered nor cancelled."""
        return sum(len(self._by_status[status]) for status in OPEN)

    def next(self) -> Transaction:
        """Do one thing. What is impossible now gives way to a placed order, or to new stock where there is none."""
        action = self._random.choices(self._actions, self._weights)[0]
        for attempt in (action, self._place):
            if changes := attempt():
                return Transaction(action=attempt.__name__.strip("_"), changes=tuple(changes))
        return Transaction(action="restock", changes=tuple(self._restock()))

    def _place(self) -> list[Change] | None:
        """A basket of one to three lines, each an order of its own; stock is reserved for it."""
        if not self.customers or not self._for_sale:
            return None
        purchaser, changes = self.customers.draw(self._random), []
        for _ in range(self._random.choices((1, 2, 3), (80, 15, 5))[0]):
            product = self.products[self._for_sale.draw(self._random)]
            quantity = self._random.choices((1, 2, 3, 4, 5), (50, 25, 12, 8, 5))[0]
            if product.stock - product.reserved < quantity:
                continue
            discount = Decimal("0.90") if self._random.random() < 0.2 else Decimal(1)
            order = Order(
                id=self._next_id("orders"),
                purchaser=purchaser,
                product=product.id,
                quantity=quantity,
                unit_price=round(product.price * discount, 2),
                status=PENDING,
            )
            self.know_order(order)
            values = {
                "purchaser": purchaser,
                "product_id": order.product,
                "quantity": quantity,
                "unit_price": order.unit_price,
            }
            changes.append(Change(table="orders", kind="insert", key=order.id, values=values))
            changes.append(self._stock(product, reserved=quantity))
        return changes

    def _advance(self) -> list[Change] | None:
        """The fullest stage goes on: paid, shipped with a shipment's row, delivered."""
        if self.open_orders < BACKLOG:
            return None
        fullest = max(OPEN, key=lambda status: len(self._by_status[status]))
        order = self.orders[self._by_status[fullest].draw(self._random)]
        if fullest == PENDING:
            return [self._becomes(order, CONFIRMED)]
        if fullest == CONFIRMED:
            return self._ship(order)
        if order.shipment is None:
            return [self._becomes(order, DELIVERED)]
        delivered = {"status": DELIVERED, "delivered_at": Now()}
        shipment = Change(table="shipments", kind="update", key=order.shipment, values=delivered)
        return [self._becomes(order, DELIVERED), shipment]

    def _ship(self, order: Order) -> list[Change]:
        order.shipment = self._next_id("shipments")
        values = {
            "order_id": order.id,
            "carrier": self._random.choice(("DHL", "UPS", "FedEx", "PostNL")),
            "tracking_number": f"GEN{order.shipment:010d}",
            "status": "IN_TRANSIT",
            "shipped_at": Now(),
        }
        shipped = self._becomes(order, SHIPPED)
        stock = self._stock(self.products[order.product], stock=-order.quantity, reserved=-order.quantity)
        return [shipped, stock, Change(table="shipments", kind="insert", key=order.shipment, values=values)]

    def _correct(self) -> list[Change] | None:
        """The customer calls: another quantity, or the price was wrong."""
        order = self._waiting()
        if order is None:
            return None
        product = self.products[order.product]
        quantity = self._random.randint(1, 6)
        if self._random.random() < 0.3 or quantity == order.quantity:
            order.unit_price = round(order.unit_price * Decimal("0.95"), 2)
            return [Change(table="orders", kind="update", key=order.id, values={"unit_price": order.unit_price})]
        more = quantity - order.quantity
        if more > product.stock - product.reserved:
            return None
        order.quantity = quantity
        corrected = Change(table="orders", kind="update", key=order.id, values={"quantity": quantity})
        return [corrected, self._stock(product, reserved=more)]

    def _cancel(self) -> list[Change] | None:
        order = self._waiting()
        if order is None:
            return None
        freed = self._stock(self.products[order.product], reserved=-order.quantity)
        return [self._becomes(order, CANCELLED), freed]

    def _delete(self) -> list[Change] | None:
        """A finished order is erased, its shipment first."""
        status = self._random.choice((CANCELLED, CANCELLED, DELIVERED))
        closed = self._by_status[status]
        if not closed:
            return None
        order = self.orders[closed.draw(self._random)]
        self._forget(order)
        changes = [] if order.shipment is None else [Change(table="shipments", kind="delete", key=order.shipment)]
        return [*changes, Change(table="orders", kind="delete", key=order.id)]

    def _hand_over(self) -> list[Change] | None:
        """An order goes to another customer, who is also the key of its message."""
        order = self._waiting()
        if order is None:
            return None
        order.purchaser = self.customers.draw(self._random)
        return [Change(table="orders", kind="update", key=order.id, values={"purchaser": order.purchaser})]

    def _register(self) -> list[Change]:
        customer = self._next_id("customers")
        first, last = self._random.choice(_FIRST_NAMES), self._random.choice(_LAST_NAMES)
        city, country = self._random.choice(_CITIES)
        self.know_customer(customer)
        values = {
            "first_name": first,
            "last_name": last,
            "email": f"customer{customer}@example.com",
            "city": city,
            "country": country,
        }
        return [Change(table="customers", kind="insert", key=customer, values=values)]

    def _edit_customer(self) -> list[Change] | None:
        if not self.customers:
            return None
        city, country = self._random.choice(_CITIES)
        values = {"city": city, "country": country, "phone": f"+1 555 {self._random.randint(0, 9999999):07d}"}
        return [Change(table="customers", kind="update", key=self.customers.draw(self._random), values=values)]

    def _reprice(self) -> list[Change] | None:
        if not self._for_sale:
            return None
        product = self.products[self._for_sale.draw(self._random)]
        factor = Decimal(self._random.randint(90, 112)) / 100
        product.price = min(max(round(product.price * factor, 2), Decimal("0.99")), Decimal(5000))
        return [Change(table="products", kind="update", key=product.id, values={"price": product.price})]

    def _launch(self) -> list[Change] | None:
        """A new product with its first stock."""
        if len(self._for_sale) >= MOST_PRODUCTS:
            return None
        price = Decimal(self._random.randint(500, 40000)) / 100
        product = Product(id=self._next_id("products"), price=price, active=True, stock=200, reserved=0)
        self.know_product(product)
        noun, category = self._random.choice(_GOODS)
        values = {"sku": f"GEN-{product.id:06d}", "name": f"{noun} {product.id}", "category": category, "price": price}
        return [
            Change(table="products", kind="insert", key=product.id, values=values),
            Change(table="inventory", kind="insert", key=product.id, values={"quantity": product.stock}),
        ]

    def _retire(self) -> list[Change] | None:
        """A product is no longer sold; its open orders are still served. Ten stay in any case."""
        if len(self._for_sale) <= 10:
            return None
        product = self.products[self._for_sale.draw(self._random)]
        product.active = False
        self._for_sale.remove(product.id)
        return [Change(table="products", kind="update", key=product.id, values={"active": False})]

    def _restock(self) -> list[Change]:
        """New goods for everything that ran low; a new product where nothing is for sale."""
        low = [
            product
            for product in (self.products[key] for key in self._for_sale)
            if product.stock - product.reserved <= product.reorder_level
        ]
        if low:
            return [self._stock(product, stock=self._random.randint(200, 500)) for product in low]
        return self._launch() or self._register()

    def _waiting(self) -> Order | None:
        """An order that has not left the house."""
        waiting = self._by_status[self._random.choice((PENDING, CONFIRMED))]
        return self.orders[waiting.draw(self._random)] if waiting else None

    def _becomes(self, order: Order, status: str) -> Change:
        self._by_status[order.status].remove(order.id)
        order.status = status
        self.know_order(order)
        return Change(table="orders", kind="update", key=order.id, values={"status": status})

    def _forget(self, order: Order) -> None:
        self._by_status[order.status].remove(order.id)
        del self.orders[order.id]

    def _stock(self, product: Product, *, stock: int = 0, reserved: int = 0) -> Change:
        product.stock += stock
        product.reserved += reserved
        moved = {"quantity": stock, "reserved": reserved}
        values = {column: Plus(amount) for column, amount in moved.items() if amount}
        return Change(table="inventory", kind="update", key=product.id, values=values)


_FIRST_NAMES = ("Ada", "Bjørn", "Chloé", "Dmitri", "Emeka", "Fatima", "Grace", "Haruka", "Inês", "João", "Lena", "Zoë")
_LAST_NAMES = (
    "Andersen",
    "Bauer",
    "Castro",
    "Dubois",
    "Eze",
    "Fischer",
    "García",
    "Ito",
    "Kowalski",
    "O'Brien",
    "Şahin",
)
_CITIES = (
    ("Berlin", "DE"),
    ("Lyon", "FR"),
    ("Porto", "PT"),
    ("Osaka", "JP"),
    ("Austin", "US"),
    ("Lagos", "NG"),
    ("Kraków", "PL"),
)
_GOODS = (
    ("Lamp", "Furniture"),
    ("Novel", "Books"),
    ("Headset", "Electronics"),
    ("Espresso", "Groceries"),
    ("Backpack", "Accessories"),
)
